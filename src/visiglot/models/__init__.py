"""Models: any Hugging Face vision encoder x connector x any Hugging Face LLM.

Importing this package registers `VisiglotConfig`, `VisionLanguageModel` and `VisiglotProcessor` with transformers' Auto
classes, so that stock code loads our checkpoints without remote code.
"""

from transformers import AutoConfig, AutoModel, AutoModelForImageTextToText, AutoProcessor

from visiglot.models.config import VisiglotConfig
from visiglot.models.processor import VisiglotProcessor
from visiglot.models.vlm import VisionLanguageModel

AutoConfig.register("visiglot", VisiglotConfig)
AutoModel.register(VisiglotConfig, VisionLanguageModel)
AutoModelForImageTextToText.register(VisiglotConfig, VisionLanguageModel)
AutoProcessor.register(VisiglotConfig, VisiglotProcessor)

__all__ = ["VisiglotConfig", "VisiglotProcessor", "VisionLanguageModel"]
