"""The pool of a job that one worker does: that worker in a process of its own, without Ray."""
