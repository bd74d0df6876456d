"""Students, teachers and courses of a school."""
