"""The lab: named systemd hosts with podman and without Python, on one machine, in network namespaces of their own.

`python -m tests.lab up LAB.yml` boots a lab, `down NAME` removes every trace of it; README.md has one page of use.
"""
