"""What engines call their figures, and what we call them: one canonical name over engines and versions.

For each canonical name the first one found on the page counts, so that a page with an old and a new name for the same
thing is not counted twice. Names are those of Prometheus samples; a counter is found with and without `_total`.

Sources, looked up in November 2026:
  vLLM      docs.vllm.ai/en/latest/usage/metrics and a page of 0.3x; older names: vllm-project/vllm pull requests
            18354 and 30041 (gpu_cache_usage_perc became kv_cache_usage_perc), vllm/v1/metrics/loggers.py of 0.11
            (time_per_output_token_seconds became inter_token_latency_seconds; it always held gaps between tokens)
  SGLang    docs.sglang.io/references/production_metrics.html, srt/observability/metrics_collector.py
  llama.cpp tools/server/README.md and server-context.cpp; kv_cache_usage_ratio was removed by pull request 13660.
            Its prompt_tokens_total leaves out cached tokens, so it is what others call computed prefill tokens
  TGI       huggingface.co/docs/text-generation-inference/reference/metrics
  TensorRT  tensorrt_llm/metrics/collector.py (trtllm-serve, page /prometheus/metrics; `trtllm:` in older Dynamo)
"""

from __future__ import annotations

GAUGES: dict[str, tuple[str, ...]] = {
    "running": (
        "vllm:num_requests_running",
        "sglang:num_running_reqs",
        "llamacpp:requests_processing",
        "tgi_batch_current_size",
        "trtllm_num_requests_running",
    ),
    "waiting": (
        "vllm:num_requests_waiting",
        "sglang:num_queue_reqs",
        "llamacpp:requests_deferred",
        "tgi_queue_size",
        "trtllm_num_requests_waiting",
    ),
}

# Shares of a whole: several series (one for each engine behind the page) are averaged, not summed.
SHARES: dict[str, tuple[str, ...]] = {
    "kv_cache_usage": (
        "vllm:kv_cache_usage_perc",
        "vllm:gpu_cache_usage_perc",
        "sglang:token_usage",
        "llamacpp:kv_cache_usage_ratio",
        "trtllm_kv_cache_utilization",
    ),
}

COUNTERS: dict[str, tuple[str, ...]] = {
    "prompt_tokens": (
        "vllm:prompt_tokens",
        "sglang:prompt_tokens",
        "tgi_request_input_length_sum",
        "trtllm_prompt_tokens",
    ),
    "computed_prompt_tokens": ("vllm:request_prefill_kv_computed_tokens_sum", "llamacpp:prompt_tokens"),
    "cached_prompt_tokens": ("vllm:prompt_tokens_cached", "sglang:cached_tokens", "trtllm_prompt_cached_tokens"),
    "generation_tokens": (
        "vllm:generation_tokens",
        "sglang:generation_tokens",
        "llamacpp:tokens_predicted",
        "tgi_request_generated_tokens_sum",
        "trtllm_generation_tokens",
    ),
    "prefix_cache_queries": ("vllm:prefix_cache_queries", "vllm:gpu_prefix_cache_queries"),
    "prefix_cache_hits": ("vllm:prefix_cache_hits", "vllm:gpu_prefix_cache_hits"),
    "preemptions": ("vllm:num_preemptions", "sglang:num_retracted_requests"),
    "prefill_seconds": (
        "vllm:request_prefill_time_seconds_sum",
        "llamacpp:prompt_seconds",
        "trtllm_request_prefill_time_seconds_sum",
    ),
    "decode_seconds": (
        "vllm:request_decode_time_seconds_sum",
        "llamacpp:tokens_predicted_seconds",
        "trtllm_request_decode_time_seconds_sum",
    ),
    "spec_drafts": ("vllm:spec_decode_num_drafts", "llamacpp:spec_decode_num_drafts"),
    "spec_draft_tokens": (
        "vllm:spec_decode_num_draft_tokens",
        "llamacpp:spec_decode_num_draft_tokens",
        "trtllm_spec_decode_num_draft_tokens",
    ),
    "spec_accepted_tokens": (
        "vllm:spec_decode_num_accepted_tokens",
        "llamacpp:spec_decode_num_accepted_tokens",
        "trtllm_spec_decode_num_accepted_tokens",
    ),
}

HISTOGRAMS: dict[str, tuple[str, ...]] = {
    "ttft": (
        "vllm:time_to_first_token_seconds",
        "sglang:time_to_first_token_seconds",
        "trtllm_time_to_first_token_seconds",
        "trtllm:time_to_first_token_seconds",
    ),
    "itl": (
        "vllm:inter_token_latency_seconds",
        "vllm:time_per_output_token_seconds",
        "sglang:inter_token_latency_seconds",
    ),
    "tpot": (
        "vllm:request_time_per_output_token_seconds",
        "sglang:time_per_output_token_seconds",
        "tgi_request_mean_time_per_token_duration",
        "trtllm_time_per_output_token_seconds",
        "trtllm:time_per_output_token_seconds",
    ),
    "e2e": (
        "vllm:e2e_request_latency_seconds",
        "sglang:e2e_request_latency_seconds",
        "tgi_request_duration",
        "trtllm_e2e_request_latency_seconds",
        "trtllm:e2e_request_latency_seconds",
    ),
    "queue": (
        "vllm:request_queue_time_seconds",
        "sglang:queue_time_seconds",
        "tgi_request_queue_duration",
        "trtllm_request_queue_time_seconds",
        "trtllm:request_queue_time_seconds",
    ),
    "prefill": ("vllm:request_prefill_time_seconds", "trtllm_request_prefill_time_seconds"),
    "decode": ("vllm:request_decode_time_seconds", "trtllm_request_decode_time_seconds"),
}
