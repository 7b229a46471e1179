"""Rules, what a plan would take, and the plan."""

from __future__ import annotations

import uuid

from frostline.v1 import planner_pb2, rule_pb2

from connection import Connection
from failure import Retries


def apply_rule(connection: Connection, spec: rule_pb2.RuleSpec) -> rule_pb2.ApplyRulesResponse:
    """Puts one rule in force, beside the others. A rule that says the same already keeps its version."""
    request = rule_pb2.ApplyRulesRequest(rule_set=rule_pb2.RuleSet(rules=[spec]))
    return Retries().run(lambda: connection.rules.ApplyRules(request, **connection.call()))


def preview(connection: Connection, share_name: str) -> planner_pb2.PreviewResponse:
    """What a plan would take and why not the rest. Changes nothing."""
    request = planner_pb2.PreviewRequest(share_name=share_name)
    return Retries().run(lambda: connection.planner.Preview(request, **connection.call()))


def plan(connection: Connection, share_name: str) -> planner_pb2.PlanResponse:
    """Plans the share. The same request_id in every try: if an answer was lost, the next one has the plan that was made."""
    request = planner_pb2.PlanRequest(share_name=share_name, request_id=str(uuid.uuid4()))
    return Retries().run(lambda: connection.planner.Plan(request, **connection.call(timeout_seconds=600)))
