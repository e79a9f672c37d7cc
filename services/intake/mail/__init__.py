"""Reads mail: raw bytes to one Mail, purely. read.py is the door; the other modules each know one thing and nothing of storage or sockets.

Mail is split on bytes by our own small splitter (tree.py), not by the standard library's parser: that one turns the whole mail into
text with surrogates first, recurses with the depth of the input, tests every line against every open boundary, and reads Chinese headers
wrongly; ours costs a few searches per level, is bounded by construction, and slices instead of copying.
"""
