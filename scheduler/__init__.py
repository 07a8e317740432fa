"""Scheduling: pages and plans, for dialogues known only as ids and numbers."""
