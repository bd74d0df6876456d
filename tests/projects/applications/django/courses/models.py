"""What a course is."""

from django.db import models


class Course(models.Model):
    title = models.CharField(max_length=200)
    credits = models.IntegerField()

    def __str__(self) -> str:
        return self.title
