"""HTTP: the contract served by Connexion, the watch as a stream, health, and the page for people, as one ASGI application.

The package's face is left empty, so that the service can listen before all that is loaded; see ``opening``.
"""
