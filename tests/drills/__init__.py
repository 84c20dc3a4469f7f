"""Measured exercises: each promises figures, and fails when one falls short."""
