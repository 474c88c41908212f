"""The recipe: a typed, closed schema; YAML and dotted overrides in, resolved YAML out.

A recipe is values only. Every key is known in `schema`, a misspelt one is an error with the nearest valid name, and all
problems of a recipe are reported at once.
"""

from visiglot.config.data import (
    AllocationSection,
    DataSection,
    SourceSection,
)
from visiglot.config.model import (
    ConnectorSection,
    LanguageModelSection,
    ModelSection,
    PartSource,
    PromptSection,
    TokenizerSection,
    VisionSection,
)
from visiglot.config.recipes import (
    cache_dir,
    dump_recipe,
    load_model_section,
    load_recipe,
    parse_recipe,
    read_recipe_text,
    recipe_names,
    recipe_values,
    recipes_folder,
)
from visiglot.config.schema import (
    EvaluateSection,
    Recipe,
)
from visiglot.config.section import (
    Section,
)
from visiglot.config.training import (
    AugmentationSection,
    BatchSection,
    LoraSection,
    Mode,
    PartSection,
    StageSection,
    TrainSection,
)

__all__ = [
    "AllocationSection",
    "AugmentationSection",
    "BatchSection",
    "ConnectorSection",
    "DataSection",
    "EvaluateSection",
    "LanguageModelSection",
    "LoraSection",
    "Mode",
    "ModelSection",
    "PartSection",
    "PartSource",
    "PromptSection",
    "Recipe",
    "Section",
    "SourceSection",
    "StageSection",
    "TokenizerSection",
    "TrainSection",
    "VisionSection",
    "cache_dir",
    "dump_recipe",
    "load_model_section",
    "load_recipe",
    "parse_recipe",
    "read_recipe_text",
    "recipe_names",
    "recipe_values",
    "recipes_folder",
]
