"""Rows and conversations: the synthetic catalogue, a user's dataset, pictures. No network."""
