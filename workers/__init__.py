"""Where the work runs: the worker with its loaded models, pools of workers (in-process, child process,
Ray), node facts.

Does not know output formats or the command line. The only package that imports ray.
"""
