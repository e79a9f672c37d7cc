"""Router: decides what a complaint is, how pressing, and which department must answer it."""
