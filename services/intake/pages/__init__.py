"""What customers see in a browser: the form, the receipt, the progress of their complaint. Server-rendered; works without scripts."""
