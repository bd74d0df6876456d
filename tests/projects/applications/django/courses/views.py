"""Courses over HTTP."""

from rest_framework import serializers, viewsets

from courses.models import Course


class CourseSerializer(serializers.ModelSerializer):
    class Meta:
        """What of a course is shown."""

        model = Course
        fields = ("id", "title", "credits")


class CourseViewSet(viewsets.ModelViewSet):
    queryset = Course.objects.order_by("id")
    serializer_class = CourseSerializer
