"""The service of magms_serve, its page, and a client. Only the worker's process imports torch."""
