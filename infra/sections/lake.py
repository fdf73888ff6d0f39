"""What can be set of the record: where it lies, and how long it is kept."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, SecretStr, field_validator

from infra.sections.base import Section


class S3Settings(Section):
    # Address of an S3-compatible store as "host:port"; empty for Amazon's own.
    endpoint: str = ""
    region: str = "us-east-1"
    # How to log in. The secret is best set by NIGHTSHIFT_LAKE__S3__SECRET.
    key_id: str = ""
    secret: SecretStr = SecretStr("")
    use_ssl: bool = True
    # How buckets are addressed: by path (most stores) or as the host's first name (Amazon).
    url_style: Literal["path", "vhost"] = "path"


class LakeSettings(Section):
    # The transactional catalog: a SQLite file (one machine), or "postgres:" and a connection string for
    # several collectors ("postgres:host=db dbname=nightshift", with its password in PGPASSWORD or a passfile,
    # since errors name the string). Empty for a SQLite file in the data folder.
    catalog: str = ""
    # Where Parquet files go: a folder, or "s3://bucket/folder". Empty for a folder in the data folder.
    files: str = ""
    s3: S3Settings = S3Settings()
    # Days that customers' words stay in the record; 0 keeps them. Nights and deployments always stay.
    retention_days: Annotated[float, Field(ge=0)] = 0.0
    # Days that old versions of the record stay readable: so long a night can be repeated exactly.
    versions_days: Annotated[float, Field(gt=0)] = 30.0

    @field_validator("catalog")
    @classmethod
    def _no_password(cls, catalog: str) -> str:
        if re.search(r"password\s*=|//[^/@]*:[^/@]*@", catalog):
            raise ValueError("it holds a password: set PGPASSWORD, or name a passfile, instead")
        return catalog
