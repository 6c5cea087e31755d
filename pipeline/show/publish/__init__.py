"""Publish: an output -> a bundle, what is published with a data set -> the Hub.

`write_bundle` writes the folder, `check_bundle` checks one, `push_bundle` uploads it.
"""

from pipeline.show.publish.bundle_check import check_bundle
from pipeline.show.publish.bundle_push import PushPlan, plan_push, push_bundle
from pipeline.show.publish.bundle_writer import Bundle, write_bundle

__all__ = ["Bundle", "PushPlan", "check_bundle", "plan_push", "push_bundle", "write_bundle"]
