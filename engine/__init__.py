"""The engine: one turn is hear, think, speak; one loop serves many dialogues."""
