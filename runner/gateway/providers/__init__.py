"""Providers: who answers a model call. One module each."""
