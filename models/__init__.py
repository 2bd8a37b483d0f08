"""What recognises: bundles, encoders, decoders, tokenizers, the model store and the bundled nano.en.

Knows nothing of files to transcribe or of jobs. The seam to the pipeline is
:class:`asr_batch.models.recognizer.Recognizer`; one implementation per model family stands in a
subpackage of its own, and :mod:`asr_batch.models.load` finds the one that fits a folder.
"""
