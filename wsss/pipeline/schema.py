"""The types that options are checked against, as Hydra asks for them; importing this makes them known."""

import sys

from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from wsss.pipeline.config import Config
from wsss.pipeline.config.scripts import ExplainConfig, ExportConfig, FoldersConfig, PredictConfig
from wsss.pipeline.sweep import register

OmegaConf.register_new_resolver("script_doc", lambda: sys.modules["__main__"].__doc__ or "", replace=True)  # for --help
# By the name that the root config.yaml of conf and of its folders asks for.
ConfigStore.instance().store(name="schema", node=Config)
ConfigStore.instance().store(name="explain_schema", node=ExplainConfig)
ConfigStore.instance().store(name="evaluate_schema", node=FoldersConfig)
ConfigStore.instance().store(name="predict_schema", node=PredictConfig)
ConfigStore.instance().store(name="export_schema", node=ExportConfig)
register()
