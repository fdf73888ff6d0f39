"""The operations pages: where the loop stands, and the two buttons that change what serves.

Reads the record, the deployments topic, the registry and the rooms' probes; writes one thing only,
a DeploymentChanged event. Every page is also JSON under `/api`.
"""
