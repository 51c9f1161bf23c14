"""Names that launch files and layouts use and the node has yet to have."""

PARAMETERS = {"cameras"}
TOPICS = {"/diagnostics", "/pixio_node/pipeline_latency_ms", "/pixio_node/processing_time_ms"}
