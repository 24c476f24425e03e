"""Exporters: graphs, float or quantized, become files of other frameworks.

``zeropoint.exporters.onnx`` writes ONNX; :meth:`zeropoint.Model.to_onnx` is its short form. Nothing
is imported here, so that running models needs no exporter's packages.
"""
