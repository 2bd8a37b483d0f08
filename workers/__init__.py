"""Where it runs: the worker that holds loaded models, pools of workers (in-process, Ray), node facts.

Knows nothing of output formats or the command line. The only room that imports ray.
"""
