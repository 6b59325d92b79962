"""What we want to know: audiences and computed traits, from files or from the management API.

Reads the workspace's files (workspace.py) and the query language (language/); versions.py keeps definitions in the
database. Everything else here is pure, and tells all problems at once, each with its file, line and column.
"""
