"""The departments' side of the desk: what they do with complaints, over HTTP and on the workbench's pages."""
