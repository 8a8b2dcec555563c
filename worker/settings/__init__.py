"""One configuration for both programs: how settings are defined, read and checked; the common sections.

Each setting is one pydantic field. Its TOML key, its environment variable, `--set section.key=value` and the
reference tables are made of that field.
"""
