"""`watch`: looks at each new span, decides whether the pipeline runs, and writes down why."""
