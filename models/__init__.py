"""Recognition: model families, encoders, decoders, tokenizers, the model store, and the bundled nano.en.

Does not know files to transcribe or jobs. The interface to the pipeline is
:class:`asr_batch.models.recognizer.Recognizer`. Each model family implements it in a subpackage, and
:mod:`asr_batch.models.load` selects the one for a folder.
"""

from asr_batch.manifests.environment import no_telemetry

no_telemetry()
