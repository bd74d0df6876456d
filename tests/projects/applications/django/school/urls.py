"""Paths of the project."""

from courses.views import CourseViewSet
from django.urls import include, path
from rest_framework.routers import DefaultRouter

router = DefaultRouter()
router.register("courses", CourseViewSet)

urlpatterns = [path("api/", include(router.urls))]
