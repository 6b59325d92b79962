"""The use cases: compute, plan, preview, resolve, import. Each owns its transactions and joins the stages below.

Computing: `compute` decides what goes together; `rounds` take many definitions in one transaction, `batches` one
definition in many; both write by `writing`, which says by `telling` what must be told.
"""
