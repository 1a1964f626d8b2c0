"""Plans: specs bound to memory as one list of steps."""

from foveal.plan.plan import BatchResult, EvaluationResult, Plan, Source

__all__ = ["BatchResult", "EvaluationResult", "Plan", "Source"]
