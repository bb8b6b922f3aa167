from wsss.report.audit_page import write_audit_page
from wsss.report.html import write_report
from wsss.report.tables import results_table, stamp

__all__ = ["results_table", "stamp", "write_audit_page", "write_report"]
