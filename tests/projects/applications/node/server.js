import { existsSync, readFileSync, writeFileSync } from "node:fs";
import express from "express";

const FILE = "tasks.json";
const tasks = existsSync(FILE) ? JSON.parse(readFileSync(FILE, "utf8")) : [];
const app = express();
app.use(express.json());

const save = () => writeFileSync(FILE, JSON.stringify(tasks));
const next = () => tasks.reduce((most, task) => Math.max(most, task.id), 0) + 1;
const valid = (body) =>
  body && typeof body.title === "string" && body.title.trim() !== "" && Number.isInteger(body.priority);

app.get("/tasks", (request, response) => response.json(tasks));

app.post("/tasks", (request, response) => {
  if (!valid(request.body)) return response.status(422).json({ error: "invalid" });
  const task = { id: next(), title: request.body.title, priority: request.body.priority };
  tasks.push(task);
  save();
  return response.status(201).json(task);
});

app.param("id", (request, response, proceed, id) => {
  request.task = tasks.find((task) => String(task.id) === id);
  return request.task ? proceed() : response.status(404).json({ error: "not found" });
});

app.get("/tasks/:id", (request, response) => response.json(request.task));

app.put("/tasks/:id", (request, response) => {
  if (!valid(request.body)) return response.status(422).json({ error: "invalid" });
  Object.assign(request.task, { title: request.body.title, priority: request.body.priority });
  save();
  return response.json(request.task);
});

app.delete("/tasks/:id", (request, response) => {
  tasks.splice(tasks.indexOf(request.task), 1);
  save();
  return response.status(204).end();
});

app.listen(Number(process.env.PORT || 3000), "127.0.0.1");
