"""The record: DuckLake, which is DuckDB's SQL over Parquet files with a transactional catalog.

The only place that knows duckdb. `lake` reads and writes, `connection` finds catalog and files, and `turns`
says which of several writers may write now. Rows are only appended; what they mean is the business of the
queries in `infra/sql`.
"""

from infra.lake.lake import Lake, Row

__all__ = ["Lake", "Row"]
