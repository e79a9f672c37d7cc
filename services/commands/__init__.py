"""The commands of `desk`, a module a group. They print for people; the work is done by the services' own code."""
