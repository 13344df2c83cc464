"""``searcher merge``: what a mergekit configuration describes, merged by this project's operators.

Names and meaning of the keys are those of mergekit 0.1.5 (https://github.com/arcee-ai/mergekit); no code of it is used.
"""
