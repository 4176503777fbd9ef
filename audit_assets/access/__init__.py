"""Access as code: who may read what of the warehouse, from YAML to the grants, policies and tags that say so."""
