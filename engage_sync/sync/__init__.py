"""The use cases: compute, tell, resolve, import. Each owns its transactions and joins the stages below."""
