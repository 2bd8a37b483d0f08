"""The pool of a job with a single worker, in a child process without Ray."""
