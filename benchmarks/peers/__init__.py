"""The same models behind other servers, each as in its documentation."""
