"""Where the work runs: workers with their models, pools of workers, facts about nodes.

Does not know output formats or the command line. The only package that imports ray.
"""
