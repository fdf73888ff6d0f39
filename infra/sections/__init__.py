"""What can be set, a file for each section: names, types, defaults and what each is for.

`infra.settings` reads them.
"""

from __future__ import annotations

from infra.sections.agent import AgentSettings
from infra.sections.canary import CanarySettings
from infra.sections.collector import CollectorSettings
from infra.sections.dashboard import DashboardSettings
from infra.sections.engine import EngineSettings
from infra.sections.kafka import KafkaSettings
from infra.sections.lake import LakeSettings, S3Settings
from infra.sections.trainer import ClassifierSettings, JudgeSettings, TrainerSettings

__all__ = [
    "AgentSettings",
    "CanarySettings",
    "ClassifierSettings",
    "CollectorSettings",
    "DashboardSettings",
    "EngineSettings",
    "JudgeSettings",
    "KafkaSettings",
    "LakeSettings",
    "S3Settings",
    "TrainerSettings",
]
