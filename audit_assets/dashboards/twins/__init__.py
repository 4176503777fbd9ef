"""The dashboards' twins: a Looker project and a Metabase export, made from the same definition and verified offline."""
