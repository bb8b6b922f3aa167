"""Label maps to and from the formats that annotation tools, servers and other trainers read."""
