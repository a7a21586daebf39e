import a_library_that_nobody_has.part  # noqa: F401
