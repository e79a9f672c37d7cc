"""The workbench: the departments' pages, made on the server, without scripts."""
