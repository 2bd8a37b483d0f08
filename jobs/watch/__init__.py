"""A folder that is watched: what arrives in it becomes rows."""
