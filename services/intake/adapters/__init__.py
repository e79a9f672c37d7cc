"""Channel adapters, one file a channel: raw bytes in, Submissions out, no input or output of their own."""
