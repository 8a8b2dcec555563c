"""Settings of both programs: their definition, loading and checks, and the common sections.

Each setting is one pydantic field, from which its TOML key, its environment variable, its `--set` key and
the reference tables are derived.
"""
